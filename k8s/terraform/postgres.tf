# Dagster's records. Its password is set by hand (README.md), so that the state knows none.
resource "google_sql_database_instance" "dagster" {
  name                = "imgsearch-dagster"
  region              = var.region
  database_version    = "POSTGRES_17"
  deletion_protection = true

  settings {
    edition                     = "ENTERPRISE"
    tier                        = "db-custom-1-3840"
    availability_type           = "REGIONAL"
    disk_type                   = "PD_SSD"
    disk_size                   = 20
    disk_autoresize             = true
    disk_autoresize_limit       = 200
    deletion_protection_enabled = true

    ip_configuration {
      ipv4_enabled       = false
      private_network    = google_compute_network.this.id
      allocated_ip_range = google_compute_global_address.private["postgres"].name
      # Dagster's driver asks for TLS by itself where it is offered.
      ssl_mode = "ENCRYPTED_ONLY"
    }
    # Runs that wait for each other's locks are worth a line.
    database_flags {
      name  = "log_lock_waits"
      value = "on"
    }
    backup_configuration {
      enabled                        = true
      start_time                     = "03:00"
      location                       = var.region
      point_in_time_recovery_enabled = true
      transaction_log_retention_days = 7
      backup_retention_settings {
        retained_backups = 14
      }
    }
    maintenance_window {
      day          = 2
      hour         = 2
      update_track = "stable"
    }
    insights_config {
      query_insights_enabled = true
    }
  }

  depends_on = [google_service_networking_connection.private]
}

resource "google_sql_database" "dagster" {
  name     = "dagster"
  instance = google_sql_database_instance.dagster.name
}
