# Who the hosted workflows are to Google (../../docs/delivery.md). GitHub says of each job which repository it is of, its
# branch and its environment; nothing but three jobs gets in, each as an account of its own, and no key is kept anywhere.
locals {
  jobs = {
    builder              = { ref = "refs/heads/main", ends = ":ref:refs/heads/main", does = "writes images" }
    deliverer-staging    = { ref = "refs/heads/main", ends = ":environment:staging", does = "rolls out to staging" }
    deliverer-production = { ref = "refs/heads/release", ends = ":environment:production", does = "rolls out to production" }
  }
  identities = join("/", [
    "projects/${data.google_project.this.number}/locations/global/workloadIdentityPools",
    google_iam_workload_identity_pool.github.workload_identity_pool_id,
  ])
  deliverers = toset([for name in keys(local.jobs) : name if startswith(name, "deliverer-")])
}

resource "google_iam_workload_identity_pool" "github" {
  workload_identity_pool_id = "github"
  description               = "Jobs of GitHub"

  depends_on = [google_project_service.this]
}

resource "google_iam_workload_identity_pool_provider" "github" {
  workload_identity_pool_id          = google_iam_workload_identity_pool.github.workload_identity_pool_id
  workload_identity_pool_provider_id = "github"

  oidc {
    issuer_uri = "https://token.actions.githubusercontent.com"
  }
  # The number of the repository: a name can be given up, and taken by another. The end of a subject is all that is read of it.
  attribute_mapping = {
    "google.subject" = "assertion.repository_id + \":\" + assertion.run_id" # nothing is bound to it, and it has a limit
    "attribute.job" = join("", concat(
      [
        for name, job in local.jobs :
        "assertion.ref == \"${job.ref}\" && assertion.sub.endsWith(\"${job.ends}\") ? \"${name}\" : "
      ],
      ["\"none\""],
    ))
  }
  attribute_condition = "assertion.repository_id == \"${var.repository_id}\" && attribute.job != \"none\""
}

resource "google_service_account_iam_member" "jobs" {
  for_each = local.jobs

  service_account_id = google_service_account.this[each.key].name
  role               = "roles/iam.workloadIdentityUser"
  member             = "principalSet://iam.googleapis.com/${local.identities}/attribute.job/${each.key}"
}

resource "google_artifact_registry_repository_iam_member" "jobs" {
  for_each = local.jobs

  repository = google_artifact_registry_repository.images.repository_id
  location   = var.region
  role       = each.key == "builder" ? "roles/artifactregistry.writer" : "roles/artifactregistry.reader"
  member     = google_service_account.this[each.key].member
}

# To the cluster's door and no further: what may be done inside, the cluster says (../cluster).
resource "google_project_iam_custom_role" "door" {
  role_id     = "imgsearchClusterDoor"
  title       = "imgsearch: to the cluster's door"
  permissions = ["container.clusters.connect", "container.clusters.get"]
}

resource "google_project_iam_member" "door" {
  for_each = local.deliverers

  project = var.project
  role    = "projects/${var.project}/roles/${google_project_iam_custom_role.door.role_id}"
  member  = google_service_account.this[each.key].member
}

resource "google_storage_bucket_iam_member" "deliverers" {
  for_each = local.deliverers

  bucket = google_storage_bucket.objects.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.this[each.key].member
}

# What ran in staging, and nothing else: who delivers there can move no pointer.
resource "google_storage_bucket_iam_member" "deliveries" {
  bucket = google_storage_bucket.objects.name
  role   = "roles/storage.objectUser"
  member = google_service_account.this["deliverer-staging"].member

  condition {
    title      = "its record of deliveries"
    expression = "resource.name == \"projects/_/buckets/${google_storage_bucket.objects.name}/objects/deliveries/staging.json\""
  }
}
