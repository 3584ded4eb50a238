"""The JSON of an answer: what ``schemas.Answer`` says that it is."""

import orjson

from serving.api.answer import answered, whole
from serving.api.schemas import Answer, BoxFields, FoundBox
from serving.images.box import Box
from serving.proto import geometry_pb2, search_pb2

PRODUCT = search_pb2.Product(
    product_id="a", name='Å "quoted"\n', price=2**62, in_stock=True, image_urls=["http://x/1", "http://x/2"]
)


def reply(**result: object) -> search_pb2.SearchReply:
    return search_pb2.SearchReply(
        results=[search_pb2.Result(plan="graph", **result)],  # type: ignore[arg-type]
        generation="g1",
        embedder_version="e1",
    )


def test_what_is_written_is_what_the_schema_describes() -> None:
    hits = [
        search_pb2.Hit(
            product=PRODUCT,
            score=0.123456,
            image_url="http://x/2",
            box=geometry_pb2.Box(x0=0.1, y0=0.2, x1=0.7, y1=1),
            also_product_ids=["b"],
        ),
        search_pb2.Hit(product=PRODUCT, score=-1),
    ]
    box = Box(0.25, 0.25, 0.5, 0.5)
    boxes = [FoundBox(box=BoxFields.of(box), category="bag", score=0.5)]
    made = answered(
        reply(hits=hits, product=PRODUCT, exhausted=True),
        "computed",
        "variant",
        boxes=boxes,
        chosen=box,
        detector="d1",
    )
    assert (made.generation, made.features) == ("g1", "computed")
    sent = whole(made.body, True, {"search": 1.5})
    fields = orjson.loads(sent)
    answer = Answer.model_validate(fields)
    assert fields.keys() == Answer.model_fields.keys()
    assert answer.model_dump() == fields, "nothing is lost, nothing is left out"
    first, second = answer.results
    assert (first.image_url, first.score, first.box) == ("http://x/2", 0.1235, BoxFields.of(hits[0].box))
    assert (first.name, first.price, first.also) == (PRODUCT.name, 2**62, ["b"])
    assert (second.box, second.score, second.also) == (None, -1, [])
    assert answer.product is not None
    assert answer.product.image_url == "http://x/1"
    assert (answer.boxes, answer.chosen_box) == (boxes, BoxFields.of(box))
    assert (answer.plan, answer.exhausted, answer.collapse) == ("graph", True, "variant")
    assert (answer.cached, answer.timings_ms) == (True, {"search": 1.5})


def test_an_answer_of_nothing() -> None:
    sent = whole(answered(reply(), "index", "product").body, False, {})
    answer = Answer.model_validate_json(sent)
    assert (answer.results, answer.product, answer.chosen_box, answer.models.detector) == (
        [],
        None,
        None,
        None,
    )
