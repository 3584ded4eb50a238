"""What is kept can be replaced and removed as the code needs it, and no more can be lost than has to be."""

from imgsearch_assets.settings import PipelineSettings
from tests.terraform.planning import Plan

_DAY_S = 24 * 3600


def test_objects_can_be_replaced_and_removed_and_had_back(plan: Plan) -> None:
    """A retention policy would hold pointers and leases; a lifecycle rule would take what is served."""
    bucket = plan.one("google_storage_bucket", "objects")
    assert (bucket["retention_policy"], bucket["lifecycle_rule"]) == ([], [])
    assert not bucket.get("default_event_based_hold")
    assert bucket["soft_delete_policy"][0]["retention_duration_seconds"] >= 7 * _DAY_S
    cluster = plan.one("google_container_cluster", "this")
    assert bucket["location"] == cluster["location"], "leases are small requests one after the other"


def test_every_bucket_is_closed_to_the_public(plan: Plan) -> None:
    for bucket in (each["values"] for each in plan.all("google_storage_bucket")):
        assert bucket["uniform_bucket_level_access"] is True, bucket["name"]
        assert bucket["public_access_prevention"] == "enforced", bucket["name"]
        assert bucket["force_destroy"] is False, bucket["name"]


def test_records_are_held_and_logs_are_not(plan: Plan) -> None:
    records = plan.one("google_storage_bucket", "records")
    (held,) = records["retention_policy"]
    (goes,) = records["lifecycle_rule"]
    assert int(held["retention_period"]) == 90 * _DAY_S
    assert goes["condition"][0]["age"] * _DAY_S > int(held["retention_period"])
    logs = plan.one("google_storage_bucket", "dagster_logs")
    assert logs["retention_policy"] == []
    sink = plan.one("google_logging_project_sink", "records")
    assert sink["destination"] == f"storage.googleapis.com/{records['name']}"


def test_redis_speaks_tls_and_knows_who_asks(plan: Plan) -> None:
    for name, redis in plan.each("google_redis_instance", "this").items():
        assert redis["transit_encryption_mode"] == "SERVER_AUTHENTICATION", name
        assert redis["auth_enabled"] is True, name
        assert redis["connect_mode"] == "PRIVATE_SERVICE_ACCESS", name


def test_redis_forgets_what_has_an_expiry_alone(plan: Plan) -> None:
    """Features and stock have none (docs/operations.md, "Redis full")."""
    for redis in plan.each("google_redis_instance", "this").values():
        assert redis["redis_configs"] == {"maxmemory-policy": "volatile-lru"}


def test_redis_has_room_for_the_catalogue_that_the_manifests_are_sized_for(plan: Plan) -> None:
    """20,000 products with 3 pictures take 38 MiB (docs/adr/0009); the alert is at four fifths."""
    features_gib = 730_000 / 20_000 * 38 / 1024
    stock_gib = 0.1
    for redis in plan.each("google_redis_instance", "this").values():
        assert features_gib + stock_gib < 0.8 * redis["memory_size_gb"]


def test_production_outlives_a_machine(plan: Plan) -> None:
    redis = plan.each("google_redis_instance", "this")
    assert (redis["production"]["tier"], redis["staging"]["tier"]) == ("STANDARD_HA", "BASIC")
    assert redis["production"]["persistence_config"][0]["persistence_mode"] == "RDB"
    (settings,) = plan.one("google_sql_database_instance", "dagster")["settings"]
    assert settings["availability_type"] == "REGIONAL"
    (backups,) = settings["backup_configuration"]
    assert backups["enabled"] is backups["point_in_time_recovery_enabled"] is True


def test_dagsters_database_is_private(plan: Plan) -> None:
    (settings,) = plan.one("google_sql_database_instance", "dagster")["settings"]
    (address,) = settings["ip_configuration"]
    assert (address["ipv4_enabled"], address["ssl_mode"]) == (False, "ENCRYPTED_ONLY")
    assert address["authorized_networks"] == []


def test_what_is_served_is_not_destroyed_by_one_command(plan: Plan) -> None:
    assert plan.one("google_container_cluster", "this")["deletion_protection"] is True
    assert plan.one("google_sql_database_instance", "dagster")["deletion_protection"] is True
    assert all(each["deletion_protection"] for each in plan.each("google_redis_instance", "this").values())


def test_copies_that_nobody_ends_expire_after_those_that_somebody_does(plan: Plan) -> None:
    work = plan.one("google_bigquery_dataset", "work")
    days = PipelineSettings.model_fields["bigquery_copy_days"].default
    assert work["default_table_expiration_ms"] > days * _DAY_S * 1000
    catalogue = plan.one("google_bigquery_dataset", "catalogue")
    assert catalogue["default_table_expiration_ms"] is None
    assert catalogue["location"] == work["location"]


def test_messages_wait_and_are_tried_a_hundred_times(plan: Plan) -> None:
    subscription = plan.one("google_pubsub_subscription", "catalogue")
    assert subscription["ack_deadline_seconds"] >= 60
    assert subscription["push_config"] == []
    assert subscription["expiration_policy"] == [{"ttl": ""}]
    (dead,) = subscription["dead_letter_policy"]
    assert dead["max_delivery_attempts"] == 100
    assert (
        plan.one("google_pubsub_topic", "dead")["name"]
        == plan.one("google_pubsub_subscription", "dead")["name"]
    )


def test_an_image_that_is_deployed_stays_what_it_is(plan: Plan) -> None:
    """What is deployed is tagged; a tag does not move, and what has one is not cleaned up."""
    images = plan.one("google_artifact_registry_repository", "images")
    assert images["docker_config"] == [{"immutable_tags": True}]
    assert images["cleanup_policy_dry_run"] is False
    policies = {each["action"]: each["condition"][0] for each in images["cleanup_policies"]}
    assert policies["KEEP"]["tag_state"] == "TAGGED"
    assert (policies["DELETE"]["tag_state"], policies["DELETE"]["older_than"]) == ("UNTAGGED", "31536000s")
