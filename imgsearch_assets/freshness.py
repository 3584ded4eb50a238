"""How old what shoppers see may be before somebody is told."""

from datetime import timedelta

import dagster as dg

# The daily run alone keeps this promise, with some hours for one that is slow or has to be repeated.
DAILY = dg.FreshnessPolicy.time_window(warn_window=timedelta(hours=26), fail_window=timedelta(hours=30))
