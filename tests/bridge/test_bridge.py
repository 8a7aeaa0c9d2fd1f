"""`read_seurat` and `write_seurat`: round trip, refused input, no incomplete files."""

from __future__ import annotations

import builtins
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mudata import MuData

from compare import normal
from content import describe, to_mudata
from sailerx.errors import InputError
from sailerx_bridge import read_seurat, session, write_seurat

EXAMPLES = Path(__file__).resolve().parents[2] / "bridge" / "examples" / "v1"
CONTENT = json.loads((EXAMPLES / "content.json").read_text(encoding="utf-8"))
needs_r = pytest.mark.r


@pytest.fixture
def mdata() -> MuData:
    return to_mudata(CONTENT)


@needs_r
@pytest.mark.signac
def test_object_survives_a_round_trip_through_rds(r, mdata: MuData, tmp_path: Path) -> None:
    path = tmp_path / "un objet à lire.rds"
    write_seurat(mdata, path)
    assert normal(describe(read_seurat(path)), CONTENT) == normal(CONTENT)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@needs_r
def test_writing_does_not_modify_the_object(r, mdata: MuData, tmp_path: Path) -> None:
    mdata["rna"].obs["text"] = ["a", "b", "a", "a"]
    before = mdata["rna"].obs.copy(), mdata.obs.copy()
    write_seurat(mdata, tmp_path / "object.rds")
    pd.testing.assert_frame_equal(mdata["rna"].obs, before[0])
    pd.testing.assert_frame_equal(mdata.obs, before[1])


@needs_r
def test_text_stays_text_in_r_and_categories_stay_factors(r, mdata: MuData, tmp_path: Path) -> None:
    write_seurat(mdata, tmp_path / "object.rds")
    classes = r.run(
        f"sapply(readRDS({json.dumps(str(tmp_path / 'object.rds'))})[[]], function(x) class(x)[[1]])"
    )
    found = dict(zip(classes.names, classes, strict=True))
    assert {found["note"], found["note_na"]} == {"character"}
    assert (found["label"], found["stage"], found["flag_na"]) == ("factor", "ordered", "logical")


@needs_r
def test_assays_and_modalities_can_be_named(r, mdata: MuData, tmp_path: Path) -> None:
    write_seurat(mdata, tmp_path / "object.rds", assays={"Gene": "rna", "peaks": "atac"})
    found = read_seurat(tmp_path / "object.rds", assays={"expression": "Gene"})
    assert list(found.mod) == ["expression"]
    np.testing.assert_array_equal(found["expression"].X.toarray(), mdata["rna"].X.toarray())


@needs_r
def test_a_single_cell_is_refused_and_no_file_is_left(r, mdata: MuData, tmp_path: Path) -> None:
    one = MuData({"rna": mdata["rna"][:1].copy()})
    with pytest.raises(InputError, match="at least two cells and two features"):
        write_seurat(one, tmp_path / "object.rds")
    assert list(tmp_path.iterdir()) == []


@needs_r
def test_something_else_than_a_seurat_object_is_refused(r, tmp_path: Path) -> None:
    path = tmp_path / "numbers.rds"
    r.run(f"saveRDS(1:3, {json.dumps(str(path))})")
    with pytest.raises(InputError, match="must be a Seurat object"):
        read_seurat(path)
    path.write_text("not an rds file", encoding="utf-8")
    with pytest.raises(InputError, match=r"must be an \.rds file"):
        read_seurat(path)


@needs_r
def test_unknown_assay_is_refused_listing_the_present_ones(r, mdata: MuData, tmp_path: Path) -> None:
    write_seurat(mdata, tmp_path / "object.rds")
    with pytest.raises(InputError, match='no "ADT"'):
        read_seurat(tmp_path / "object.rds", assays={"protein": "ADT"})


def test_a_missing_file_or_folder_is_refused_before_r_starts(mdata: MuData, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no file"):
        read_seurat(tmp_path / "nothing.rds")
    with pytest.raises(InputError, match="folder that exists"):
        write_seurat(mdata, tmp_path / "nowhere" / "object.rds")


def test_without_rpy2_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without_rpy2(name: str, *args: object, **kwargs: object) -> object:
        if name.split(".")[0] == "rpy2":
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_rpy2)
    with pytest.raises(ImportError, match=r"pip install 'sailerx\[r\]'"):
        session._import_rpy2()


@needs_r
@pytest.mark.signac
def test_fragments_and_annotation_survive(r, tmp_path: Path) -> None:
    path = tmp_path / "signac.rds"
    r.run(
        f"""
        local({{
          utils::data("atac_small", package = "Signac", envir = environment())
          object <- suppressWarnings(SeuratObject::UpdateSeuratObject(atac_small))
          cells <- setNames(colnames(object), colnames(object))
          file <- system.file("extdata", "fragments.tsv.gz", package = "Signac")
          fragments <- Signac::CreateFragmentObject(file, cells, validate.fragments = FALSE, verbose = FALSE)
          assay <- object[["peaks"]]
          Signac::Fragments(assay) <- fragments
          object[["peaks"]] <- assay
          saveRDS(object, {json.dumps(str(path))})
        }})
        """
    )
    peaks = read_seurat(path, assays={"atac": "peaks"})["atac"]
    entry = peaks.uns["fragments"]["0"]
    assert entry["path"].endswith("fragments.tsv.gz")
    assert list(entry["cells"]) == list(peaks.obs_names)
    assert peaks.uns["genome"] == "hg19"
    assert peaks.uns["seqinfo"].loc["chr1", "length"] == 249250621
    first = peaks.uns["annotation"].iloc[0]
    assert (first["chrom"], first["start"], first["end"], first["gene_name"]) == (
        "chr1",
        29553,
        30039,
        "MIR1302-10",
    )
