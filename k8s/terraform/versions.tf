terraform {
  # 1.11 is the first with which nothing here has to be worked around; 2 may change what a plan means.
  required_version = ">= 1.11, < 2.0"

  required_providers {
    # Every argument is held to the schema of 8.7.0 (tests/terraform); a minor release adds arguments and takes none away.
    google = {
      source  = "hashicorp/google"
      version = "~> 8.7"
    }
  }

  # Where the state lies is said at `terraform init` (README.md): it differs by installation.
  backend "gcs" {}
}

provider "google" {
  project        = var.project
  region         = var.region
  default_labels = { app = "imgsearch" }

  # Budgets are billed to a project, and are to be to this one.
  billing_project       = var.project
  user_project_override = true
}
