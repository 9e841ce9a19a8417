-- migrate:up
create view open_tickets as
    select t.id, t.subject, t.priority, a.email
    from tickets t
    join accounts a on a.id = t.account_id
    where t.state <> 'solved';

-- migrate:down
drop view open_tickets;
