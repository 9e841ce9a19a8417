-- revision: 0001

-- upgrade
create function touch() returns trigger language plpgsql as $$
begin
    new.updated_at := now();
    return new;
end
$$;

-- downgrade
drop function touch();
