# The way out, for nodes without an address of their own: pictures by URL, and the picture servers of the catalogue. With
# Google's 64 ports a machine downloads crawl; how many there are is reckoned in modules/nat-budget.
locals {
  # Google's default is 120; a picture server does not use the same port again sooner than its own minute, if at all.
  nat_wait_s = 30
}

module "nat_budget" {
  source = "./modules/nat-budget"

  nodes             = sum([for each in var.pools : each.most])
  connections       = var.downloads.connections
  pictures_a_second = var.downloads.pictures_a_second
  wait_s            = local.nat_wait_s
}

# Fixed addresses, so that picture servers can let them in.
resource "google_compute_address" "nat" {
  count = module.nat_budget.addresses

  name   = "imgsearch-nat-${count.index}"
  region = var.region

  depends_on = [google_project_service.this]
}

resource "google_compute_router" "this" {
  name    = "imgsearch"
  region  = var.region
  network = google_compute_network.this.id
}

resource "google_compute_router_nat" "this" {
  name   = "imgsearch"
  region = var.region
  router = google_compute_router.this.name

  nat_ip_allocate_option             = "MANUAL_ONLY"
  nat_ips                            = google_compute_address.nat[*].self_link
  source_subnetwork_ip_ranges_to_nat = "LIST_OF_SUBNETWORKS"
  subnetwork {
    name                    = google_compute_subnetwork.nodes.id
    source_ip_ranges_to_nat = ["ALL_IP_RANGES"]
  }

  enable_dynamic_port_allocation      = true
  enable_endpoint_independent_mapping = false
  min_ports_per_vm                    = module.nat_budget.fewest_ports
  max_ports_per_vm                    = module.nat_budget.most_ports
  tcp_time_wait_timeout_sec           = local.nat_wait_s

  log_config {
    enable = true
    filter = "ERRORS_ONLY"
  }
}
