# What the manifests have to be told. README.md says where each goes.
output "place" {
  description = "`data` of place.yaml in each overlay."
  value = {
    for name, each in var.environments : name => {
      identities = "${var.project}.iam.gserviceaccount.com"
      host       = each.host
      edge       = google_compute_ssl_policy.edge[name].name
      redis      = local.redis_ranges[name]
    }
  }
}

output "images" {
  description = "Where the images are: `newName` in each overlay's kustomization.yaml and `repository` in values.place.yaml begin with it."
  value       = "${var.region}-docker.pkg.dev/${var.project}/${google_artifact_registry_repository.images.repository_id}"
}

output "objects" {
  description = "IMGSEARCH_OBJECTS, in base/settings.env and in values.place.yaml."
  value       = "gs://${google_storage_bucket.objects.name}"
}

output "dagster" {
  description = "The rest of values.place.yaml."
  value = {
    identity  = "${google_service_account.this["dagster"].account_id}@${var.project}.iam.gserviceaccount.com"
    logs      = google_storage_bucket.dagster_logs.name
    postgres  = google_sql_database_instance.dagster.private_ip_address
    database  = google_sql_database.dagster.name
    messages  = "projects/${var.project}/subscriptions/${google_pubsub_subscription.catalogue.name}" # IMGSEARCH_PUBSUB_SUBSCRIPTION
    copies    = google_bigquery_dataset.work.dataset_id                                              # IMGSEARCH_BIGQUERY_WORK_DATASET
    catalogue = "bigquery:${var.project}.${google_bigquery_dataset.catalogue.dataset_id}.TABLE"      # IMGSEARCH_CATALOGUE
  }
}

output "delivery" {
  description = "Variables of the repository on GitHub, and DELIVERER of each of its environments (../../docs/delivery.md)."
  value = {
    IDENTITY_PROVIDER = "${local.identities}/providers/${google_iam_workload_identity_pool_provider.github.workload_identity_pool_provider_id}"
    BUILDER           = google_service_account.this["builder"].email
    DELIVERER         = { for name in keys(var.environments) : name => google_service_account.this["deliverer-${name}"].email }
    IMAGES            = "${var.region}-docker.pkg.dev/${var.project}/${google_artifact_registry_repository.images.repository_id}"
    OBJECTS           = "gs://${google_storage_bucket.objects.name}"
    CLUSTER           = google_container_cluster.this.name
    CLUSTER_LOCATION  = google_container_cluster.this.location
  }
}

output "redis" {
  description = "Host and port of each environment's Redis, for IMGSEARCH_REDIS_URL in the Secrets."
  value       = { for name, each in google_redis_instance.this : name => "${each.host}:${each.port}" }
}

output "name_servers" {
  description = "The domain's name servers, to be set where the domain was bought."
  value       = google_dns_managed_zone.public.name_servers
}

output "nat_addresses" {
  description = "Where pictures are fetched from: for those whose picture servers let nobody else in."
  value       = google_compute_address.nat[*].address
}
