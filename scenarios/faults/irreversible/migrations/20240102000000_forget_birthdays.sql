-- migrate:up
alter table people drop column birthday;

-- migrate:down
do $$ begin raise exception 'the birthdays are gone'; end $$;
