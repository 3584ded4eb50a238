# One network, one subnet. Of var.network, here with its default:
#   10.60.0.0/28, 10.60.0.16/28  Redis of staging and of production: the range that their network policies let through
#   10.60.1.0/24                 PostgreSQL
#   10.60.4.0/22                 nodes
#   10.61.0.0/17                 pods: 64 addresses a node
#   10.61.128.0/20               services of the cluster
locals {
  redis_ranges = {
    staging    = cidrsubnet(var.network, 13, 0)
    production = cidrsubnet(var.network, 13, 1)
  }
  private_ranges = merge(
    { for environment, range in local.redis_ranges : "redis-${environment}" => range },
    { postgres = cidrsubnet(var.network, 9, 1) },
  )
}

resource "google_compute_network" "this" {
  name                    = "imgsearch"
  auto_create_subnetworks = false

  depends_on = [google_project_service.this]
}

resource "google_compute_subnetwork" "nodes" {
  name                     = "imgsearch-nodes"
  network                  = google_compute_network.this.id
  region                   = var.region
  ip_cidr_range            = cidrsubnet(var.network, 7, 1)
  private_ip_google_access = true

  secondary_ip_range {
    range_name    = "pods"
    ip_cidr_range = cidrsubnet(var.network, 2, 2)
  }
  secondary_ip_range {
    range_name    = "services"
    ip_cidr_range = cidrsubnet(var.network, 5, 24)
  }

  log_config {
    aggregation_interval = "INTERVAL_10_MIN"
    flow_sampling        = 0.1
    metadata             = "EXCLUDE_ALL_METADATA"
  }
}

# Redis and PostgreSQL lie in Google's own network, in ranges of ours.
resource "google_compute_global_address" "private" {
  for_each = local.private_ranges

  name          = "imgsearch-${each.key}"
  purpose       = "VPC_PEERING"
  address_type  = "INTERNAL"
  network       = google_compute_network.this.id
  address       = cidrhost(each.value, 0)
  prefix_length = tonumber(split("/", each.value)[1])
}

resource "google_service_networking_connection" "private" {
  network                 = google_compute_network.this.id
  service                 = "servicenetworking.googleapis.com"
  reserved_peering_ranges = [for each in google_compute_global_address.private : each.name]
}
