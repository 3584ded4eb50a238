import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from imgsearch_assets.sample.body import FOREARM_CM, SHOULDER, UPPER_ARM_CM, Pose, Wearer


@given(st.integers(0, 2**32 - 1))
def test_limbs_start_at_their_joints_and_keep_their_length(seed: int) -> None:
    pose = Pose.standing(np.random.default_rng(seed))
    for side in (-1, 1):
        arm = pose.arm(side)
        np.testing.assert_allclose(arm[0], [SHOULDER[0] * side, SHOULDER[1]], atol=1e-4)
        length = np.linalg.norm(np.diff(arm, axis=0), axis=1).sum()
        assert abs(length - UPPER_ARM_CM - FOREARM_CM) < 2
        assert pose.leg(side)[-1, 0] * side > 0


def test_a_wearer_has_a_body_and_maybe_long_hair() -> None:
    wearers = [Wearer.drawn(np.random.default_rng(seed)) for seed in range(20)]
    assert {bool(wearer.hair_behind()) for wearer in wearers} == {True, False}
    assert len(wearers[0].body(Pose.laid(np.random.default_rng(0)))) > 10
