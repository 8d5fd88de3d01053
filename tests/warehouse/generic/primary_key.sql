{# The column is never null and never repeats, in one query: a null or doubled key joins to nothing or counts twice. #}
{% test primary_key(model, column_name) %}

select
    {{ column_name }},
    count(*) as row_count
from {{ model }}
group by {{ column_name }}
having {{ column_name }} is null or count(*) > 1

{% endtest %}
