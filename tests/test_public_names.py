from importlib import resources

import efficientformer


def test_every_public_name_resolves_to_what_it_says():
    verbs = {"design", "train", "export", "predict", "analyze", "benchmark"}
    assert verbs | {"create_model", "LatencyTable"} < set(efficientformer.__all__)
    for name in efficientformer.__all__:
        assert getattr(efficientformer, name).__name__ == name
        assert name in dir(efficientformer)


def test_an_unknown_name_is_an_attribute_error():
    assert not hasattr(efficientformer, "measure_everything")


def test_type_checkers_of_others_read_our_annotations():
    assert (resources.files("efficientformer") / "py.typed").is_file()
