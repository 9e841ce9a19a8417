drop index concurrently songs_title_idx;
