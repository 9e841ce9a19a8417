-- +goose Up
create unique index books_isbn_key on books (isbn);

-- +goose Down
drop index books_isbn_idx;
