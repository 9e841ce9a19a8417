-- +goose Up
create table loans (
    book_id integer not null references books (id),
    lent_on date not null
);

-- +goose Down
drop table loans;
