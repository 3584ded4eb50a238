# One cluster for both environments and for Dagster: they are namespaces of it (../README.md).
resource "google_container_cluster" "this" {
  name                = "imgsearch"
  location            = var.region
  deletion_protection = true

  release_channel {
    channel = "REGULAR"
  }
  min_master_version = "1.36" # what ../README.md says; the channel goes on from there

  network         = google_compute_network.this.id
  subnetwork      = google_compute_subnetwork.nodes.id
  networking_mode = "VPC_NATIVE"
  ip_allocation_policy {
    cluster_secondary_range_name  = "pods"
    services_secondary_range_name = "services"
  }
  default_max_pods_per_node = 32

  # Network policies are Dataplane V2's; pods speak in the clear, so it encrypts what leaves a node.
  datapath_provider            = "ADVANCED_DATAPATH"
  in_transit_encryption_config = "IN_TRANSIT_ENCRYPTION_INTER_NODE_TRANSPARENT"
  dns_config {
    # The network policies let pods ask kube-dns, not Cloud DNS.
    cluster_dns = "PLATFORM_DEFAULT"
  }

  # Nodes have no public address, nor has the control plane: kubectl reaches it by a name that only IAM opens.
  private_cluster_config {
    enable_private_nodes = true
  }
  control_plane_endpoints_config {
    dns_endpoint_config {
      allow_external_traffic = true
    }
    ip_endpoints_config {
      enabled = false
    }
  }

  workload_identity_config {
    workload_pool = "${var.project}.svc.id.goog"
  }
  gateway_api_config {
    channel = "CHANNEL_STANDARD"
  }
  addons_config {
    http_load_balancing {
      disabled = false
    }
    horizontal_pod_autoscaling {
      disabled = false
    }
    dns_cache_config {
      enabled = true
    }
    gce_persistent_disk_csi_driver_config {
      enabled = true
    }
  }
  monitoring_config {
    enable_components = ["SYSTEM_COMPONENTS", "STORAGE", "POD", "DEPLOYMENT", "HPA"]
    managed_prometheus {
      enabled = true
    }
  }
  logging_config {
    enable_components = ["SYSTEM_COMPONENTS", "WORKLOADS"]
  }
  cost_management_config {
    enabled = true
  }
  security_posture_config {
    mode               = "BASIC"
    vulnerability_mode = "VULNERABILITY_DISABLED"
  }
  maintenance_policy {
    recurring_window {
      # Nights of the week in Europe; a rollout of nodes is slow enough for the disruption budgets.
      start_time = "2026-01-05T01:00:00Z"
      end_time   = "2026-01-05T05:00:00Z"
      recurrence = "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH"
    }
  }

  # Every pool is a resource of its own (pools.tf); a cluster begins with one, which goes at once.
  remove_default_node_pool = true
  initial_node_count       = 1
  node_config {
    service_account = google_service_account.this["nodes"].email
    oauth_scopes    = ["https://www.googleapis.com/auth/cloud-platform"]
    shielded_instance_config {
      enable_secure_boot = true
    }
  }

  lifecycle {
    ignore_changes = [node_config, min_master_version]
  }

  depends_on = [google_project_iam_member.nodes]
}
