# The installation that the manifests in this repository describe; a test holds them to each other.
project   = "imgsearch"
region    = "europe-west1"
gpu_zones = ["europe-west1-b", "europe-west1-c"]
domain    = "example.com"

# Of 730,000 products with 3 pictures each, the features are some 1.4 GiB (docs/adr/0009) and the stock a tenth of one.
environments = {
  staging = {
    host                = "search.staging.example.com"
    redis_gb            = 3
    redis_copies        = false
    requests_per_minute = 600
  }
  production = {
    host                = "search.example.com"
    redis_gb            = 5
    redis_copies        = true
    requests_per_minute = 1200
  }
}

repository_id   = "123456789"
alert_emails    = ["oncall@example.com"]
billing_account = "012345-6789AB-CDEF01"
monthly_budget  = 15000
