"""The pages of reports: one HTML file each, without any external resource."""
