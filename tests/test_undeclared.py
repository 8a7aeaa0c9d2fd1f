"""Technical columns that ATAC tells apart and nobody named are found, and only these."""

from __future__ import annotations

import numpy as np
import pytest

import sailerx
from data import write
from sailerx.config import Settings
from sailerx.data.multiome import Multiome
from sailerx.joint.embedding import JointEmbedding
from sailerx.joint.undeclared import in_words, undeclared_batches


@pytest.fixture(scope="module")
def mdata():
    found = sailerx.simulate(
        800, 1000, 8000, 4, preset="10x", n_batches=2, n_programs=0, atac_batch=0.5, seed=0
    )
    for obs in (found.obs, found["rna"].obs, found["atac"].obs):
        obs["orig.ident"] = np.random.default_rng(0).choice(["x", "y"], 800)
        obs["condition"] = obs["batch"].astype(str)
    return found


def found_in(mdata, batch_key: list[str], **options) -> dict[str, float]:
    settings = Settings(**options).for_data(4, hybrid=False)
    data = Multiome.from_mudata(mdata, settings, batch_key=batch_key, seed=0)
    return undeclared_batches(data, JointEmbedding.learn(data, settings, 0), mdata.obs, batch_key)


def test_a_batch_that_atac_tells_apart_is_found_until_it_is_named(mdata):
    found = found_in(mdata, [])
    assert list(found) == ["batch"]  # not the one drawn by chance, and not a condition, which may be biology
    assert 0.5 < found["batch"] <= 1
    assert "batch_key=['batch']" in in_words(found)
    assert found_in(mdata, ["batch"]) == {}


def test_nothing_is_said_where_atac_does_not_count(mdata):
    assert found_in(mdata, [], atac_weight=0.0) == {}
    assert found_in(mdata, [], gamma=0.0) == {}


def test_fit_says_it_once(mdata, tmp_path, capsys):
    sailerx.fit(write(mdata, tmp_path / "x.h5mu"), max_epochs=0, progress="lines")
    assert capsys.readouterr().err.count("batch_key=['batch']") == 1
    sailerx.fit(mdata["atac"], max_epochs=0, progress="lines")
    assert "batch_key" not in capsys.readouterr().err
