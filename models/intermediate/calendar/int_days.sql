{#
    MetricFlow counts and fills by this table. From fixed days: one that grew with the data would be made anew by every
    run, and the clock is no input of a model.
#}

select cast(generate_series as date) as calendar_date
from generate_series(timestamp '2015-01-01', timestamp '2049-12-31', interval '1 day')
