# One Redis for each environment: features, answers, counts of API keys, what is in stock.
resource "google_redis_instance" "this" {
  for_each = var.environments

  name           = "imgsearch-${each.key}"
  region         = var.region
  redis_version  = "REDIS_7_2"
  memory_size_gb = each.value.redis_gb
  tier           = each.value.redis_copies ? "STANDARD_HA" : "BASIC"

  # Its AUTH string and certificate go into the Secret `redis` by hand (README.md). Google makes the string; Terraform
  # cannot but note it in its state.
  auth_enabled            = true
  transit_encryption_mode = "SERVER_AUTHENTICATION"

  connect_mode       = "PRIVATE_SERVICE_ACCESS"
  authorized_network = google_compute_network.this.id
  reserved_ip_range  = google_compute_global_address.private["redis-${each.key}"].name

  # Features and stock have no expiry and have to stay; answers and counts have one, and go first when it is full
  # (docs/operations.md, "Redis full").
  redis_configs = {
    maxmemory-policy = "volatile-lru"
  }

  # All of it can be made again, which takes the pipeline a while; yesterday's is taken up too (docs/adr/0008).
  persistence_config {
    persistence_mode    = each.value.redis_copies ? "RDB" : "DISABLED"
    rdb_snapshot_period = each.value.redis_copies ? "TWENTY_FOUR_HOURS" : null
  }
  maintenance_policy {
    weekly_maintenance_window {
      day = "TUESDAY"
      start_time {
        hours = 2
      }
    }
  }

  deletion_protection = true

  depends_on = [google_service_networking_connection.private]
}
