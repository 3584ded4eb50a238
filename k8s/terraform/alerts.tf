# What Prometheus in the cluster cannot tell, as it would be gone too, or sees nothing of: told by Cloud Monitoring itself.
# The figures are Cloud Monitoring's, by their names in PromQL; what to do is in docs/operations.md.
resource "google_monitoring_notification_channel" "email" {
  for_each = toset(var.alert_emails)

  display_name = "imgsearch: ${each.key}"
  type         = "email"
  labels       = { email_address = each.key }

  depends_on = [google_project_service.this]
}

resource "google_monitoring_uptime_check_config" "api" {
  for_each = var.environments

  display_name = "imgsearch-${each.key}"
  period       = "60s"
  timeout      = "10s"

  http_check {
    path         = "/readyz"
    port         = 443
    use_ssl      = true
    validate_ssl = true
    accepted_response_status_codes {
      status_class = "STATUS_CLASS_2XX"
    }
  }
  monitored_resource {
    type = "uptime_url"
    labels = {
      project_id = var.project
      host       = each.value.host
    }
  }

  depends_on = [google_project_service.this]
}

locals {
  hosts      = join("|", [for each in var.environments : replace(each.host, ".", "\\\\.")])
  production = var.environments["production"].host

  alerts = {
    OutsideCannotReach = {
      says     = "The public API does not answer from outside"
      section  = "not-reached-from-outside"
      severity = "CRITICAL"
      for      = "180s"
      query    = "avg by (host) (avg_over_time(monitoring_googleapis_com:uptime_check_check_passed{monitored_resource=\"uptime_url\", host=\"${local.production}\"}[3m])) < 0.5"
    }
    CertificateEnds = {
      says     = "A certificate of the public API ends within two weeks"
      section  = "a-certificate-ends"
      severity = "ERROR"
      for      = "3600s"
      query    = "min by (host) (monitoring_googleapis_com:uptime_check_time_until_ssl_cert_expires{monitored_resource=\"uptime_url\", host=~\"${local.hosts}\"}) < 14"
    }
    FiguresStopped = {
      says     = "No figures of production's front arrive: Prometheus is silent, and so are its alerts"
      section  = "no-figures-arrive"
      severity = "CRITICAL"
      for      = "300s"
      query    = "absent_over_time(imgsearch_api_requests_in_work{namespace=\"imgsearch-production\"}[10m])"
    }
    RedisNoRoom = {
      says     = "Redis has a tenth of its memory left, or less"
      section  = "redis-full"
      severity = "ERROR"
      for      = "600s"
      query    = "max by (instance_id) (redis_googleapis_com:stats_memory_usage_ratio) > 0.9"
    }
    NatPortsUsedUp = {
      says     = "The NAT has no port for a machine that asks for one"
      section  = "the-nat-drops-packets"
      severity = "WARNING"
      for      = "600s"
      query    = "max by (gateway_name) (router_googleapis_com:nat_nat_allocation_failed) > 0 or sum by (gateway_name) (rate(router_googleapis_com:nat_dropped_sent_packets_count{reason=\"OUT_OF_RESOURCES\"}[5m])) > 0"
    }
    DeadLetters = {
      says     = "A message that the catalogue changed could not be taken"
      section  = "messages-of-the-catalogue-are-left"
      severity = "WARNING"
      for      = "300s"
      query    = "max by (subscription_id) (pubsub_googleapis_com:subscription_num_undelivered_messages{subscription_id=\"${google_pubsub_subscription.dead.name}\"}) > 0"
    }
    MessagesWait = {
      says     = "Nobody has taken a message that the catalogue changed for two hours"
      section  = "messages-of-the-catalogue-are-left"
      severity = "WARNING"
      for      = "600s"
      query    = "max by (subscription_id) (pubsub_googleapis_com:subscription_oldest_unacked_message_age{subscription_id=\"${google_pubsub_subscription.catalogue.name}\"}) > 7200"
    }
    DagsterDatabaseFull = {
      says     = "The disk of Dagster's database is nearly full and grows no more"
      section  = "dagsters-database"
      severity = "ERROR"
      for      = "600s"
      query    = "max by (database_id) (cloudsql_googleapis_com:database_disk_utilization) > 0.9"
    }
  }
}

resource "google_monitoring_alert_policy" "this" {
  for_each = local.alerts

  display_name          = "imgsearch: ${each.key}"
  combiner              = "OR"
  severity              = each.value.severity
  notification_channels = [for each in google_monitoring_notification_channel.email : each.id]

  conditions {
    display_name = each.value.says
    condition_prometheus_query_language {
      query               = each.value.query
      duration            = each.value.for
      evaluation_interval = "60s"
      alert_rule          = each.key
      rule_group          = "imgsearch"
    }
  }
  documentation {
    subject   = "imgsearch: ${each.value.says}"
    mime_type = "text/markdown"
    content   = "${each.value.says}. What to do: docs/operations.md#${each.value.section}"
  }
  alert_strategy {
    auto_close = "1800s"
  }
}
