variable "project" {
  description = "ID of the Google Cloud project that holds the installation, and nothing else."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "project is the ID, not the name or the number: 6 to 30 lower-case letters, digits and hyphens."
  }
}

variable "region" {
  description = "Where everything lies: the cluster, the buckets, the datasets, Redis."
  type        = string

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region is a region such as europe-west1, not a zone and no multi-region: leases and pointers are small requests one after the other."
  }
}

variable "gpu_zones" {
  description = "Zones of the region that have the GPU of pool gpu: not all have (gcloud compute accelerator-types list)."
  type        = list(string)

  validation {
    condition     = length(var.gpu_zones) > 0 && alltrue([for zone in var.gpu_zones : startswith(zone, "${var.region}-")])
    error_message = "gpu_zones names one zone or more of region, such as europe-west1-b."
  }
}

variable "domain" {
  description = "Domain whose DNS zone is made here; the hosts of environments are in it."
  type        = string

  validation {
    condition     = can(regex("^([a-z0-9-]+\\.)+[a-z]{2,}$", var.domain))
    error_message = "domain is a name such as example.com: no dot at the end, no scheme."
  }
}

variable "environments" {
  description = <<-EOT
    Of each environment: the host of its public API, the size of its Redis, whether that has a second copy, and how often
    one address may ask in a minute. `exempt` are addresses (at most 8) that the rate does not hold, such as those of the shop's own servers.
  EOT
  type = map(object({
    host                = string
    redis_gb            = number
    redis_copies        = bool
    requests_per_minute = number
    exempt              = optional(list(string), [])
  }))

  validation {
    condition     = toset(keys(var.environments)) == toset(["staging", "production"])
    error_message = "environments are staging and production: k8s/overlays has these two."
  }
  validation {
    condition     = alltrue([for each in var.environments : endswith(each.host, ".${var.domain}")])
    error_message = "The host of an environment is in domain."
  }
  validation {
    condition     = alltrue([for each in var.environments : each.redis_gb >= 1 && each.redis_gb <= 300])
    error_message = "redis_gb is 1 to 300."
  }
  validation {
    condition = alltrue(flatten([
      for each in var.environments : [for range in each.exempt : can(cidrhost(range, 0)) && !endswith(range, "/0")]
    ]))
    error_message = "exempt holds ranges such as 198.51.100.7/32, and never the whole internet."
  }
  validation {
    condition     = alltrue([for each in var.environments : length(each.exempt) <= 8])
    error_message = "exempt holds 8 ranges at most: a rule of Cloud Armor takes 10, and those of the NAT are among them."
  }
}

variable "network" {
  description = "A /15 of private addresses that nothing else uses; all ranges are cut out of it (network.tf)."
  type        = string
  default     = "10.60.0.0/15"

  validation {
    condition     = can(cidrhost(var.network, 0)) && endswith(var.network, "/15") && cidrhost(var.network, 0) == split("/", var.network)[0]
    error_message = "network is a /15 and begins at its first address, such as 10.60.0.0/15."
  }
}

variable "pools" {
  description = "Machines of each pool of nodes: kind, disk, fewest and most over all zones."
  type = map(object({
    machine = string
    disk_gb = number
    fewest  = number
    most    = number
  }))
  default = {
    # Three pods of api on a node.
    api = { machine = "n2-standard-4", disk_gb = 50, fewest = 3, most = 10 }
    # One pod of production on a node, and one of staging beside it.
    search = { machine = "n2-standard-8", disk_gb = 100, fewest = 3, most = 16 }
    # One L4, so one pod, on a node: services, and eight parts of boxes or vectors.
    gpu = { machine = "g2-standard-4", disk_gb = 100, fewest = 0, most = 34 }
    # Dagster, its runs, their steps without a GPU, and what the cluster itself needs.
    dagster = { machine = "n2-highmem-8", disk_gb = 300, fewest = 1, most = 8 }
  }

  validation {
    condition     = toset(keys(var.pools)) == toset(["api", "search", "gpu", "dagster"])
    error_message = "pools are api, search, gpu and dagster: the manifests go by these names."
  }
  validation {
    condition     = alltrue([for each in var.pools : each.fewest <= each.most && each.most > 0 && each.disk_gb >= 30])
    error_message = "A pool has as many nodes at most as at least, or more; a disk has 30 GB or more."
  }
}

variable "downloads" {
  description = "What one run that downloads pictures does at most; the NAT's ports are reckoned from it."
  type = object({
    connections       = number # IMGSEARCH_DOWNLOAD_CONNECTIONS
    pictures_a_second = number
  })
  default = { connections = 64, pictures_a_second = 200 }
}

variable "api_admin" {
  description = "Whether IMGSEARCH_ADMIN_PORT is set for the api: it may write to the object store then, staging's to what production has, too."
  type        = bool
  default     = false
}

variable "catalogue_dataset" {
  description = "BigQuery dataset of the catalogue."
  type        = string
  default     = "catalogue"

  validation {
    condition     = can(regex("^[A-Za-z0-9_]+$", var.catalogue_dataset))
    error_message = "catalogue_dataset is a dataset's own name: letters, digits and underscores, without the project."
  }
}

variable "catalogue_writers" {
  description = "Who loads the catalogue and says so by Pub/Sub, as members of IAM."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for each in var.catalogue_writers : can(regex("^(user|group|serviceAccount|principal|principalSet):", each)) && !strcontains(each, "allUsers")])
    error_message = "catalogue_writers are members of IAM, such as serviceAccount:loader@shop.iam.gserviceaccount.com."
  }
}

variable "repository_id" {
  description = "GitHub's number of the repository whose workflows deliver (gh api repos/OWNER/NAME --jq .id)."
  type        = string

  validation {
    condition     = can(regex("^[0-9]+$", var.repository_id))
    error_message = "repository_id is the number, not the name: a name can be given up and be taken by somebody else."
  }
}

variable "alert_emails" {
  description = "Who is told by Cloud Monitoring and by the budget."
  type        = list(string)

  validation {
    condition     = length(var.alert_emails) > 0 && alltrue([for each in var.alert_emails : can(regex("^[^@\\s]+@[^@\\s]+$", each))])
    error_message = "alert_emails names one address or more: what nobody is told, nobody mends."
  }
}

variable "billing_account" {
  description = "Account that pays for the project, for the budget."
  type        = string

  validation {
    condition     = can(regex("^[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}$", var.billing_account))
    error_message = "billing_account is of the form 012345-6789AB-CDEF01 (gcloud billing accounts list)."
  }
}

variable "monthly_budget" {
  description = "What a month may cost, in the currency of the billing account; told at half, nine tenths, all, and when the forecast passes it."
  type        = number

  validation {
    condition     = var.monthly_budget > 0 && floor(var.monthly_budget) == var.monthly_budget
    error_message = "monthly_budget is a whole amount above nothing."
  }
}
