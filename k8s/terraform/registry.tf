# Images. A tag never moves to another image, and an image that has one stays: every image that is deployed is tagged
# (README.md). What has none goes after a year: so long an image can be rolled out, as a signature may have no tag of
# its own.
resource "google_artifact_registry_repository" "images" {
  repository_id = "imgsearch"
  location      = var.region
  format        = "DOCKER"

  docker_config {
    immutable_tags = true
  }
  cleanup_policy_dry_run = false
  cleanup_policies {
    id     = "tagged-stay"
    action = "KEEP"
    condition {
      tag_state = "TAGGED"
    }
  }
  cleanup_policies {
    id     = "untagged-go"
    action = "DELETE"
    condition {
      tag_state  = "UNTAGGED"
      older_than = "31536000s"
    }
  }

  depends_on = [google_project_service.this]
}

resource "google_artifact_registry_repository_iam_member" "nodes" {
  repository = google_artifact_registry_repository.images.repository_id
  location   = var.region
  role       = "roles/artifactregistry.reader"
  member     = google_service_account.this["nodes"].member
}
