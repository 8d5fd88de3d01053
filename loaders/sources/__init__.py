"""Sources turn files, API pages and webhook deliveries into blocks of bytes with their origin. They know no tables."""
