# The catalogue's table, copies of it, and word that it changed (docs/cloud.md).
resource "google_bigquery_dataset" "catalogue" {
  dataset_id                 = var.catalogue_dataset
  location                   = var.region
  delete_contents_on_destroy = false

  depends_on = [google_project_service.this]
}

# IMGSEARCH_BIGQUERY_WORK_DATASET. A table says itself when it goes; one whose maker died before goes after twice as long.
resource "google_bigquery_dataset" "work" {
  dataset_id                  = "imgsearch"
  location                    = var.region
  default_table_expiration_ms = 14 * 24 * 3600 * 1000
  delete_contents_on_destroy  = false

  depends_on = [google_project_service.this]
}

# The pipeline, and the stock feed, which copies nothing.
locals {
  catalogue_readers = ["dagster", "stock-feed"]
}

resource "google_bigquery_dataset_iam_member" "catalogue" {
  for_each = toset(local.catalogue_readers)

  dataset_id = google_bigquery_dataset.catalogue.dataset_id
  role       = "roles/bigquery.dataViewer"
  member     = google_service_account.this[each.key].member
}

resource "google_bigquery_dataset_iam_member" "work" {
  dataset_id = google_bigquery_dataset.work.dataset_id
  role       = "roles/bigquery.dataEditor"
  member     = google_service_account.this["dagster"].member
}

resource "google_bigquery_dataset_iam_member" "writers" {
  for_each = toset(var.catalogue_writers)

  dataset_id = google_bigquery_dataset.catalogue.dataset_id
  role       = "roles/bigquery.dataEditor"
  member     = each.key
}

resource "google_project_iam_member" "bigquery" {
  for_each = {
    for each in setproduct(local.catalogue_readers, ["jobUser", "readSessionUser"]) :
    "${each[0]}/${each[1]}" => { reader = each[0], role = "roles/bigquery.${each[1]}" }
  }

  project = var.project
  role    = each.value.role
  member  = google_service_account.this[each.value.reader].member
}

resource "google_pubsub_topic" "catalogue" {
  name = "imgsearch-catalogue"

  message_storage_policy {
    allowed_persistence_regions = [var.region]
  }

  depends_on = [google_project_service.this]
}

# Where a message goes that a look failed for a hundred times; it is read by nobody, and an alert tells of it.
resource "google_pubsub_topic" "dead" {
  name = "imgsearch-catalogue-dead"

  message_storage_policy {
    allowed_persistence_regions = [var.region]
  }

  depends_on = [google_project_service.this]
}

resource "google_pubsub_subscription" "catalogue" {
  name                 = "imgsearch-catalogue"
  topic                = google_pubsub_topic.catalogue.id
  ack_deadline_seconds = 60

  dead_letter_policy {
    dead_letter_topic     = google_pubsub_topic.dead.id
    max_delivery_attempts = 100 # Pub/Sub's most
  }
  expiration_policy {
    ttl = "" # never, however long nobody asks
  }
}

resource "google_pubsub_subscription" "dead" {
  name                       = "imgsearch-catalogue-dead"
  topic                      = google_pubsub_topic.dead.id
  message_retention_duration = "604800s"

  expiration_policy {
    ttl = ""
  }
}

resource "google_pubsub_subscription_iam_member" "dagster" {
  subscription = google_pubsub_subscription.catalogue.name
  role         = "roles/pubsub.subscriber"
  member       = google_service_account.this["dagster"].member
}

resource "google_pubsub_topic_iam_member" "writers" {
  for_each = toset(var.catalogue_writers)

  topic  = google_pubsub_topic.catalogue.name
  role   = "roles/pubsub.publisher"
  member = each.key
}

# Pub/Sub itself moves a dead letter: it takes it from the one and publishes it to the other.
locals {
  pubsub = "serviceAccount:service-${data.google_project.this.number}@gcp-sa-pubsub.iam.gserviceaccount.com"
}

resource "google_pubsub_topic_iam_member" "dead" {
  topic  = google_pubsub_topic.dead.name
  role   = "roles/pubsub.publisher"
  member = local.pubsub
}

resource "google_pubsub_subscription_iam_member" "dead" {
  subscription = google_pubsub_subscription.catalogue.name
  role         = "roles/pubsub.subscriber"
  member       = local.pubsub
}
