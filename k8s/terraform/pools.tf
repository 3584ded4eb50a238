# The pools that ../README.md names. What is not Dagster's and not the cluster's own goes to a pool with a taint alone.
locals {
  gpu = { type = "nvidia-l4", count = 1 }

  pools = {
    for name, sizes in var.pools : name => merge(sizes, {
      zones  = name == "gpu" ? var.gpu_zones : null
      labels = name == "dagster" ? {} : { "imgsearch/pool" = name }
      taints = concat(
        name == "dagster" ? [] : [{ key = "imgsearch/pool", value = name }],
        # GKE sets this one by itself, but not on the first pool of a cluster.
        name == "gpu" ? [{ key = "nvidia.com/gpu", value = "present" }] : [],
      )
      gpus = name == "gpu" ? [local.gpu] : []
    })
  }
}

resource "google_container_node_pool" "this" {
  for_each = local.pools

  name           = each.key
  cluster        = google_container_cluster.this.id
  node_locations = each.value.zones

  autoscaling {
    total_min_node_count = each.value.fewest
    total_max_node_count = each.value.most
    # GPUs are taken where there are any.
    location_policy = each.key == "gpu" ? "ANY" : "BALANCED"
  }
  management {
    auto_repair  = true
    auto_upgrade = true
  }
  upgrade_settings {
    max_surge       = 1
    max_unavailable = 0
  }
  network_config {
    enable_private_nodes = true
  }

  node_config {
    machine_type    = each.value.machine
    disk_type       = "pd-balanced"
    disk_size_gb    = each.value.disk_gb
    image_type      = "COS_CONTAINERD"
    service_account = google_service_account.this["nodes"].email
    oauth_scopes    = ["https://www.googleapis.com/auth/cloud-platform"]
    labels          = each.value.labels

    dynamic "taint" {
      for_each = each.value.taints
      content {
        key    = taint.value.key
        value  = taint.value.value
        effect = "NO_SCHEDULE"
      }
    }
    dynamic "guest_accelerator" {
      for_each = each.value.gpus
      content {
        type  = guest_accelerator.value.type
        count = guest_accelerator.value.count
        gpu_driver_installation_config {
          gpu_driver_version = "DEFAULT"
        }
      }
    }

    # An image begins to run while it is still coming.
    gcfs_config {
      enabled = true
    }
    workload_metadata_config {
      mode = "GKE_METADATA"
    }
    shielded_instance_config {
      enable_secure_boot          = true
      enable_integrity_monitoring = true
    }
    kubelet_config {
      insecure_kubelet_readonly_port_enabled = "FALSE"
    }
    metadata = {
      disable-legacy-endpoints = "true"
    }
  }

  lifecycle {
    # The autoscaler's.
    ignore_changes = [node_count]
  }
}
