locals {
  # Who reads the object store, and who writes it (docs/cloud.md).
  object_roles = {
    api     = var.api_admin ? "roles/storage.objectUser" : "roles/storage.objectViewer"
    search  = "roles/storage.objectViewer"
    detect  = "roles/storage.objectViewer"
    embed   = "roles/storage.objectViewer"
    probe   = "roles/storage.objectViewer"
    dagster = "roles/storage.objectUser"
  }
}

# The object store. No retention policy and no lifecycle rule: pointers, leases and tables are replaced and removed, and
# the pipeline prunes. What somebody removes by mistake can be had back for two weeks.
resource "google_storage_bucket" "objects" {
  name                        = "${var.project}-objects"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = false

  soft_delete_policy {
    retention_duration_seconds = 14 * 24 * 3600
  }

  lifecycle {
    prevent_destroy = true
  }

  depends_on = [google_project_service.this]
}

resource "google_storage_bucket_iam_member" "objects" {
  for_each = local.object_roles

  bucket = google_storage_bucket.objects.name
  role   = each.value
  member = google_service_account.this[each.key].member
}

# What steps of Dagster print. A step that is tried again writes the same object again, so nothing here may be held.
resource "google_storage_bucket" "dagster_logs" {
  name                        = "${var.project}-dagster-logs"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = false

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      age = 90 # days, as Dagster keeps its own records of schedules
    }
  }

  depends_on = [google_project_service.this]
}

resource "google_storage_bucket_iam_member" "dagster_logs" {
  bucket = google_storage_bucket.dagster_logs.name
  role   = "roles/storage.objectUser"
  member = google_service_account.this["dagster"].member
}

# Who changed what: Google's audit logs, which nobody can take away for three months.
resource "google_storage_bucket" "records" {
  name                        = "${var.project}-records"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = false

  retention_policy {
    retention_period = 90 * 24 * 3600
  }
  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      age = 400
    }
  }

  depends_on = [google_project_service.this]
}

resource "google_logging_project_sink" "records" {
  name                   = "imgsearch-records"
  destination            = "storage.googleapis.com/${google_storage_bucket.records.name}"
  filter                 = "log_id(\"cloudaudit.googleapis.com/activity\") OR log_id(\"cloudaudit.googleapis.com/policy\")"
  unique_writer_identity = true
}

resource "google_storage_bucket_iam_member" "records" {
  bucket = google_storage_bucket.records.name
  role   = "roles/storage.objectCreator"
  member = google_logging_project_sink.records.writer_identity
}
