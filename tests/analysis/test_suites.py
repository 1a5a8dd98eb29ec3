import pytest
import timm

from efficientformer.analysis.comparison.published import timm_top1, zoo_top1
from efficientformer.analysis.comparison.suites import SUITES, find_suite, known_title
from efficientformer.arch.zoo import ZOO
from efficientformer.errors import UsageError


@pytest.mark.parametrize("suite", SUITES.values(), ids=SUITES)
def test_every_network_of_a_suite_can_be_made_and_has_a_published_accuracy_at_its_size(suite):
    for name in suite.titles:
        if name in ZOO:
            assert zoo_top1(name, 224) is not None
        else:
            about = timm.get_pretrained_cfg(name)
            assert timm.is_model(name) and about is not None, name
            assert timm_top1(name, about.input_size[-1]) is not None, name


def test_every_suite_has_its_reference_the_paper_and_no_network_twice():
    for suite in SUITES.values():
        assert suite.reference in suite.titles and "efficientformer_l1" in suite.titles
        assert len(set(suite.titles.values())) == len(suite.titles)
        assert not suite.missing.keys() & set(suite.titles.values())


def test_the_papers_table_is_complete_between_what_is_there_and_what_is_missing():
    suite = find_suite("paper")
    assert len(suite.titles) + len(suite.missing) == 24


def test_an_unknown_suite_is_refused():
    with pytest.raises(UsageError, match="the suites are paper and mobile"):
        find_suite("desktop")


def test_titles_are_known_whatever_the_weights():
    assert known_title("mobilenetv2_140") == known_title("mobilenetv2_140.ra_in1k") == "MobileNetV2 x1.4"
    assert known_title("vgg16") is None
