from efficientformer.analysis.comparison.published import paper_row, sources, timm_top1, zoo_top1


def test_accuracy_belongs_to_weights_at_one_size():
    published = timm_top1("resnet50.a1_in1k", 224)
    assert published is not None and (published.top1, published.top5) == (80.382, 94.598)
    assert "2025-10-30" in published.source and "resnet50.a1_in1k" in published.source
    larger = timm_top1("resnet50.a1_in1k", 288)
    assert larger is not None and larger.top1 == 81.24
    assert timm_top1("resnet50.a1_in1k", 192) is None
    assert timm_top1("resnet50.of_nobody", 224) is None


def test_our_networks_have_the_papers_accuracy_at_the_papers_size():
    published = [zoo_top1(f"efficientformer_{size}", 224) for size in ("l1", "l3", "l7")]
    assert [row.top1 for row in published if row is not None] == [79.2, 82.4, 83.3]
    assert zoo_top1("efficientformer_l1", 192) is None
    assert zoo_top1("efficientformer_l2", 224) is None


def test_the_papers_rows_are_found_by_names_of_ours_and_of_timm():
    row = paper_row("mobilenetv2_140.ra_in1k")
    assert row is not None and (row.title, row.npu_ms, row.top1) == ("MobileNetV2 x1.4", 1.6, 74.7)
    assert paper_row("tf_efficientnet_b0.aa_in1k") == paper_row("efficientnet_b0")
    assert paper_row("mobilenetv2_100") is None


def test_every_source_says_where_it_is():
    assert all(source["url"].startswith("https://") and source["title"] for source in sources().values())
    assert sources()["timm"]["commit"] in sources()["timm"]["url"]
