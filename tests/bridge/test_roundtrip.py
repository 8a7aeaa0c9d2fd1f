"""Round trips Seurat ↔ MuData in both directions with random content, compared entry by entry."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from compare import normal
from content import describe, to_mudata
from sailerx.data.contract import check_file
from sailerx_bridge.seurat import read_h5mu, write_h5mu
from strategies import contents

pytestmark = [pytest.mark.r, pytest.mark.signac]
# Each example takes R a second or more: few of them, each full of everything, and no search for a smaller one.
few = settings(
    max_examples=settings.default.max_examples // 5,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
Content = dict[str, Any]


@few
@given(content=contents())
def test_seurat_to_mudata_to_seurat(r, content: Content) -> None:
    with TemporaryDirectory() as folder:
        first, second = Path(folder) / "éa b.h5mu", Path(folder) / "second.h5mu"
        r.write(content, first)
        check_file(first, profile="written")
        mdata = read_h5mu(first)
        assert normal(describe(mdata), content) == normal(content)
        write_h5mu(mdata, second)
        assert normal(describe(mdata), content) == normal(content)
        found = r.read(second)
    assert normal(found) == normal(content)
    assert [entry["class"] for entry in found["modalities"].values()] == ["Assay5", "ChromatinAssay"]


@few
@given(content=contents(modality_columns=True))
def test_mudata_to_seurat_to_mudata(r, content: Content) -> None:
    with TemporaryDirectory() as folder:
        first, second = Path(folder) / "first.h5mu", Path(folder) / "second.h5mu"
        write_h5mu(to_mudata(content), first)
        check_file(first)
        seen = r.rewrite(first, second)
        found = describe(read_h5mu(second))
    assert without_columns(normal(seen)) == without_columns(normal(content))
    assert {name: normal(seen)["obs"][name] for name in content["obs"]} == normal(content)["obs"]
    assert normal(found, content) == normal(content)


def without_columns(content: Content) -> Content:
    modalities = {name: entry | {"obs": None} for name, entry in content["modalities"].items()}
    return content | {"obs": None, "modalities": modalities}
