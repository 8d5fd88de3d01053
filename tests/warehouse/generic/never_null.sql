{# None of `columns` is null where `condition` holds; the row returned names those that are. One query for all. #}
{% test never_null(model, columns, condition='true') %}

select
    *,
    concat_ws(', '{% for column in columns %}, case when {{ column }} is null then '{{ column }}' end{% endfor %}) as null_columns
from {{ model }}
where ({{ condition }}) and ({% for column in columns %}{{ column }} is null{{ ' or ' if not loop.last }}{% endfor %})

{% endtest %}
