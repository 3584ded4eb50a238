# Told, not held: Google stops nothing when a budget is spent.
resource "google_billing_budget" "this" {
  billing_account = var.billing_account
  display_name    = "imgsearch"

  budget_filter {
    projects = ["projects/${data.google_project.this.number}"]
  }
  amount {
    specified_amount {
      units = tostring(var.monthly_budget)
    }
  }

  threshold_rules {
    threshold_percent = 0.5
  }
  threshold_rules {
    threshold_percent = 0.9
  }
  threshold_rules {
    threshold_percent = 1.0
  }
  threshold_rules {
    threshold_percent = 1.0
    spend_basis       = "FORECASTED_SPEND"
  }
  all_updates_rule {
    monitoring_notification_channels = slice([for each in google_monitoring_notification_channel.email : each.id], 0, min(5, length(var.alert_emails)))
  }

  depends_on = [google_project_service.this]
}
