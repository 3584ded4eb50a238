# What is in front of the cluster. The manifests name the address, the certificate map, the TLS policy and the Cloud Armor
# policy of an environment, all four by one name: imgsearch-ENVIRONMENT.
resource "google_compute_global_address" "edge" {
  for_each = var.environments

  name = "imgsearch-${each.key}"

  depends_on = [google_project_service.this]
}

resource "google_compute_ssl_policy" "edge" {
  for_each = var.environments

  name            = "imgsearch-${each.key}"
  profile         = "MODERN"
  min_tls_version = "TLS_1_2"

  depends_on = [google_project_service.this]
}

# One address may ask so often in a minute. A limit by address, not by key: it spares the services what has none, and is
# wide enough for many shoppers behind one address. Rules for SQL and scripts in requests are not set: pictures would trip them.
resource "google_compute_security_policy" "edge" {
  for_each = var.environments

  name = "imgsearch-${each.key}"
  type = "CLOUD_ARMOR"

  rule {
    description = "the shop's own servers and, from the cluster, the pipeline's questions after a release"
    priority    = 100
    action      = "allow"
    match {
      versioned_expr = "SRC_IPS_V1"
      config {
        src_ip_ranges = concat(google_compute_address.nat[*].address, each.value.exempt)
      }
    }
  }
  rule {
    description = "everybody: the API is public"
    priority    = 1000
    action      = "throttle"
    match {
      versioned_expr = "SRC_IPS_V1"
      config {
        src_ip_ranges = ["*"]
      }
    }
    rate_limit_options {
      conform_action = "allow"
      exceed_action  = "deny(429)"
      enforce_on_key = "IP"
      rate_limit_threshold {
        count        = each.value.requests_per_minute
        interval_sec = 60
      }
    }
  }
  rule {
    description = "the rule that every policy has to have; the one above takes all"
    priority    = 2147483647
    action      = "allow"
    match {
      versioned_expr = "SRC_IPS_V1"
      config {
        src_ip_ranges = ["*"]
      }
    }
  }

  adaptive_protection_config {
    layer_7_ddos_defense_config {
      enable = true
    }
  }

  depends_on = [google_project_service.this]
}

# Names and certificates. The domain's own name servers have to be set to those of this zone (output name_servers).
resource "google_dns_managed_zone" "public" {
  name     = "imgsearch"
  dns_name = "${var.domain}."

  dnssec_config {
    state = "on"
  }

  depends_on = [google_project_service.this]
}

resource "google_dns_record_set" "host" {
  for_each = var.environments

  managed_zone = google_dns_managed_zone.public.name
  name         = "${each.value.host}."
  type         = "A"
  ttl          = 300
  rrdatas      = [google_compute_global_address.edge[each.key].address]
}

resource "google_certificate_manager_dns_authorization" "this" {
  for_each = var.environments

  name   = "imgsearch-${each.key}"
  domain = each.value.host

  depends_on = [google_project_service.this]
}

resource "google_dns_record_set" "authorization" {
  for_each = var.environments

  managed_zone = google_dns_managed_zone.public.name
  name         = google_certificate_manager_dns_authorization.this[each.key].dns_resource_record[0].name
  type         = google_certificate_manager_dns_authorization.this[each.key].dns_resource_record[0].type
  ttl          = 300
  rrdatas      = [google_certificate_manager_dns_authorization.this[each.key].dns_resource_record[0].data]
}

resource "google_certificate_manager_certificate" "this" {
  for_each = var.environments

  name = "imgsearch-${each.key}"
  managed {
    domains            = [each.value.host]
    dns_authorizations = [google_certificate_manager_dns_authorization.this[each.key].id]
  }
}

resource "google_certificate_manager_certificate_map" "this" {
  for_each = var.environments

  name = "imgsearch-${each.key}"

  depends_on = [google_project_service.this]
}

resource "google_certificate_manager_certificate_map_entry" "this" {
  for_each = var.environments

  name         = "imgsearch-${each.key}"
  map          = google_certificate_manager_certificate_map.this[each.key].name
  certificates = [google_certificate_manager_certificate.this[each.key].id]
  hostname     = each.value.host
}
