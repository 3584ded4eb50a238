from tests.monitoring.promql import read


def test_metrics_and_labels_of_a_query() -> None:
    query = read(
        'histogram_quantile(0.95, sum by (job, le) (rate(a_bucket{route=~"/v1/{x}.*|by (y)", le!="1"}[5m])))'
        " / on (job) group_left (pod) a:b:c offset 1d > 2 * 1e3 and absent(d) or e unless f{g=''}"
    )
    assert query.selectors == (
        ("a_bucket", frozenset({"route", "le"})),
        ("a:b:c", frozenset()),
        ("d", frozenset()),
        ("e", frozenset()),
        ("f", frozenset({"g"})),
    )
    assert query.grouped == {"job", "le", "pod"}
