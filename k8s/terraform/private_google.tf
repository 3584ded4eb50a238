# Google's APIs by private.googleapis.com, which the network policies let through, and images by the same way: neither
# takes ports of the NAT.
resource "google_dns_managed_zone" "google" {
  for_each = toset(["googleapis.com", "pkg.dev"])

  name       = "imgsearch-${replace(each.key, ".", "-")}"
  dns_name   = "${each.key}."
  visibility = "private"

  private_visibility_config {
    networks {
      network_url = google_compute_network.this.id
    }
  }
}

locals {
  private_google = ["199.36.153.8", "199.36.153.9", "199.36.153.10", "199.36.153.11"]
}

resource "google_dns_record_set" "private_google" {
  for_each = {
    "private.googleapis.com." = google_dns_managed_zone.google["googleapis.com"].name
    "pkg.dev."                = google_dns_managed_zone.google["pkg.dev"].name
  }

  managed_zone = each.value
  name         = each.key
  type         = "A"
  ttl          = 300
  rrdatas      = local.private_google
}

resource "google_dns_record_set" "google" {
  for_each = {
    "*.googleapis.com." = { zone = google_dns_managed_zone.google["googleapis.com"].name, to = "private.googleapis.com." }
    "*.pkg.dev."        = { zone = google_dns_managed_zone.google["pkg.dev"].name, to = "pkg.dev." }
  }

  managed_zone = each.value.zone
  name         = each.key
  type         = "CNAME"
  ttl          = 300
  rrdatas      = [each.value.to]
}
