-- +goose Up
-- +goose StatementBegin
create function pages_touch() returns trigger language plpgsql as $$
begin
    new.changed_at := now();
    return new;
end;
$$;
-- +goose StatementEnd

create trigger pages_touch before update on pages
    for each row execute function pages_touch();

-- +goose Down
drop trigger pages_touch on pages;
drop function pages_touch();
