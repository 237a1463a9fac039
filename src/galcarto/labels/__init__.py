"""What tasks about single stars share: tables of stars, networks on bands or colours, label files, scores."""
