create index concurrently songs_title_idx on songs (lower(title));
