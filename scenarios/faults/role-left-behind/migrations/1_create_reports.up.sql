create table reports (id bigint primary key);
create role belay_scenario_reader;
grant select on reports to belay_scenario_reader;
