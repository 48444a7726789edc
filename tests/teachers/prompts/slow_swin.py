"""A Swin with prompts written from the equations: one image, one window, one head at a time, in float64 NumPy."""

from math import erf

import numpy as np

GELU = np.vectorize(lambda x: 0.5 * x * (1 + erf(x / 2**0.5)), otypes=[float])


def array(tensor):
    return tensor.detach().double().numpy()


def layer_norm(layer, x):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + layer.eps) * array(layer.weight) + array(layer.bias)


def linear(layer, x):
    y = x @ array(layer.weight).T
    return y if layer.bias is None else y + array(layer.bias)


def may_meet(a, b, shift):
    """Patches that the roll brought together from opposite edges do not attend to each other."""
    return all((a[axis] < shift) == (b[axis] < shift) for axis in (0, 1))


def bias(attention, a, b, head):
    """Position bias of two places in a window."""
    side = attention.window_size[0]
    index = (a[0] - b[0] + side - 1) * (2 * side - 1) + a[1] - b[1] + side - 1
    return array(attention.relative_position_bias_table)[index, head]


def window_attention(attention, patches, places, insides, prompts, shift):
    """Return the answers of one window: its patches (N, C) first, then the prompts (t, C)."""
    joint = np.concatenate([patches, prompts])
    width, heads = joint.shape[1], attention.num_heads
    q, k, v = np.split(linear(attention.qkv, joint), 3, axis=1)
    answers = np.zeros_like(joint)
    for head in range(heads):
        own = slice(head * width // heads, (head + 1) * width // heads)
        logits = q[:, own] @ k[:, own].T / np.sqrt(width // heads)
        for i, (place, inside) in enumerate(zip(places, insides, strict=True)):
            for j, (other, other_inside) in enumerate(zip(places, insides, strict=True)):
                logits[i, j] += bias(attention, inside, other_inside, head)
                logits[i, j] -= 0 if may_meet(place, other, shift) else 100
        weights = np.exp(logits - logits.max(1, keepdims=True))
        answers[:, own] = weights / weights.sum(1, keepdims=True) @ v[:, own]
    return linear(attention.proj, answers)


def block(module, x, prompts):
    """Return map (H, W, C) and prompts (t, C) after one block, for one image."""
    side, shift, height = module.window_size[0], module.shift_size[0], x.shape[0]
    normed, normed_prompts = layer_norm(module.norm1, x), layer_norm(module.norm1, prompts)
    attended, windows = np.zeros_like(x), []
    insides = [(row, column) for row in range(side) for column in range(side)]
    for top in range(0, height, side):
        for left in range(0, height, side):
            places = [((top + row + shift) % height, (left + column + shift) % height) for row, column in insides]
            patches = np.array([normed[place] for place in places])
            answers = window_attention(module.attn, patches, places, insides, normed_prompts, shift)
            for place, answer in zip(places, answers, strict=False):
                attended[place] = answer
            windows.append(answers[len(places) :])
    x, prompts = x + attended, prompts + np.mean(windows, axis=0)
    return tuple(
        part + linear(module.mlp.fc2, GELU(linear(module.mlp.fc1, layer_norm(module.norm2, part))))
        for part in (x, prompts)
    )


def merge(module, x):
    """Return the map of half the side: four neighbours side by side, norm, linear."""
    corners = [x[row::2, column::2] for column in (0, 1) for row in (0, 1)]
    return linear(module.reduction, layer_norm(module.norm, np.concatenate(corners, axis=-1)))


def swin(network, image_map, sets, placement):
    """Return last map and prompts, both normed, for one image.

    `image_map` is what the patch embedding gives, (H, W, C); `sets` are the prompts in order, each (t, C).
    """
    x, sets = image_map, list(sets)
    for stage_index, stage in enumerate(network.layers):
        if stage_index > 0:
            x = merge(stage.downsample, x)
        prompts = np.zeros((0, x.shape[-1]))
        for index, module in enumerate(stage.blocks):
            new = placement == "deep" or (index == 0 and (placement == "stage" or stage_index == 0))
            if new:
                prompts = sets.pop(0)
            x, prompts = block(module, x, prompts)
    assert sets == []
    return layer_norm(network.norm, x), layer_norm(network.norm, prompts)
