import pytest

from imgsearch_assets.datasets import drawn
from imgsearch_assets.datasets.dataset import Dataset
from imgsearch_assets.evaluation.evaluate import evaluate
from imgsearch_assets.evaluation.report import Report
from imgsearch_assets.models.candidates import candidate
from serving.models import detector, embedder
from serving.models.detector import Detector
from serving.models.embedder import Embedder


@pytest.fixture(scope="session")
def products(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Eight drawn products: 24 packshots, 8 street pictures."""
    return drawn.load(8, 11, tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def models() -> tuple[Detector, Embedder]:
    """The shipped ones."""
    return Detector(candidate(detector.NAME, None, None)), Embedder(candidate(embedder.NAME, None, None))


@pytest.fixture(scope="session")
def report(products: Dataset, models: tuple[Detector, Embedder]) -> Report:
    finder, looker = models
    return evaluate(products, looker, finder)
