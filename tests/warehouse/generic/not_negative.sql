{# None of `columns` is below zero; nulls pass. A negative count or cash amount is a sign read the wrong way round. #}
{% test not_negative(model, columns) %}

select
    *,
    concat_ws(', '{% for column in columns %}, case when {{ column }} < 0 then '{{ column }}' end{% endfor %}) as negative_columns
from {{ model }}
where {% for column in columns %}{{ column }} < 0{{ ' or ' if not loop.last }}{% endfor %}

{% endtest %}
