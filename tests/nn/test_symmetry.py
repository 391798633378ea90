"""Images of a signal are their own inverses."""

import torch

from asteroid_waveunet.nn.symmetry import images, mirror


def test_images_are_different_and_undo_themselves():
    x = torch.randn(2, 3, 2, 50)  # (batch, n_src, stereo, time)
    for index, image in enumerate(images(x)):
        torch.testing.assert_close(images(image)[index], x, atol=0, rtol=0)
        for other in images(x)[:index]:
            assert not torch.equal(image, other)
    assert torch.equal(mirror(x), images(x)[3])


def test_order_of_more_channels_than_two_stays():
    for channels in (1, 3):
        x = torch.randn(1, channels, 50)
        assert torch.equal(mirror(x), -x)
