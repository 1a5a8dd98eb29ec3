"""Networks side by side: any network, any runtime, their ratios and their published accuracy."""
