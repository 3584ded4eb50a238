import numpy as np

from imgsearch_assets.training.reduce import fit, project


def test_components_are_those_of_most_variance_half_whitened() -> None:
    rng = np.random.default_rng(0)
    turn, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    deviation = np.array([16, 9, 4, 1, 0.1, 0.01])
    rows = ((rng.normal(size=(4000, 6)) * deviation) @ turn.T + 5).astype(np.float32)
    weight, bias = fit(rows, 3)
    out = rows @ weight.T + bias
    np.testing.assert_allclose(out.mean(0), 0, atol=1e-2)
    np.testing.assert_allclose(out.std(0), np.sqrt(deviation[:3]), rtol=0.05)
    np.testing.assert_allclose(np.abs(np.corrcoef(out.T) - np.eye(3)), 0, atol=1e-2)
    np.testing.assert_allclose(np.linalg.norm(project(rows, weight, bias), axis=1), 1, atol=1e-5)


def test_what_lies_behind_the_width_weighs_nothing() -> None:
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(50, 9)).astype(np.float32)
    weight, bias = fit(rows, 4, 6)
    other = rows.copy()
    other[:, 6:] = 100
    assert weight.shape == (4, 9)
    np.testing.assert_array_equal(project(rows, weight, bias), project(other, weight, bias))
    np.testing.assert_allclose(weight[:, :6], fit(rows[:, :6], 4)[0], rtol=1e-5)


def test_few_rows_give_few_components() -> None:
    weight, bias = fit(np.eye(4, 9, dtype=np.float32), 128)
    assert weight.shape == (4, 9)
    assert np.isfinite(weight).all()
    assert np.isfinite(bias).all()
