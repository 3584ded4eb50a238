# Who pods, nodes and jobs of GitHub (delivery.tf) are to Google. Pods of both environments are the same accounts, as they
# read the same bucket (the overlays' `identities`).
locals {
  processes = ["api", "search", "detect", "embed", "probe", "stock-feed"]
  accounts = merge({ for name, job in local.jobs : name => job.does }, {
    api        = "the public front"
    search     = "the search service"
    detect     = "the detector"
    embed      = "the embedder"
    probe      = "the probe of the public API"
    stock-feed = "the stock feed"
    dagster    = "the pipeline"
    nodes      = "the cluster's nodes"
  })

  # Kubernetes' accounts by ours: namespace/name.
  bound = merge(
    {
      for each in setproduct(keys(var.environments), local.processes) :
      "imgsearch-${each[0]}/${each[1]}" => each[1]
    },
    { "imgsearch-dagster/dagster" = "dagster" },
  )
}

resource "google_service_account" "this" {
  for_each = local.accounts

  account_id   = "imgsearch-${each.key}"
  display_name = "imgsearch: ${each.value}"

  depends_on = [google_project_service.this]
}

resource "google_service_account_iam_member" "pods" {
  for_each = local.bound

  service_account_id = google_service_account.this[each.value].name
  role               = "roles/iam.workloadIdentityUser"
  member             = "serviceAccount:${var.project}.svc.id.goog[${each.key}]"

  # The pool of identities comes with the cluster.
  depends_on = [google_container_cluster.this]
}

# What a node needs for its own logs and figures.
resource "google_project_iam_member" "nodes" {
  project = var.project
  role    = "roles/container.defaultNodeServiceAccount"
  member  = google_service_account.this["nodes"].member
}

# The adapter that shows the autoscalers their figures reads them, under an account of the cluster alone.
resource "google_project_iam_member" "metrics_adapter" {
  project = var.project
  role    = "roles/monitoring.viewer"
  member = join("/", [
    "principal://iam.googleapis.com/projects/${data.google_project.this.number}/locations/global/workloadIdentityPools",
    "${var.project}.svc.id.goog/subject/ns/custom-metrics/sa/custom-metrics-stackdriver-adapter",
  ])

  depends_on = [google_container_cluster.this]
}
