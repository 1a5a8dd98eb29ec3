"""The four observations of the paper's section 3 as experiments on the user's own device."""
