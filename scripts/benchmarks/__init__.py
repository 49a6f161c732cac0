"""Commands that time and measure the library, beside PyTorch where it says so. Users need none of them."""
