@phase11 @drill
Feature: A link fails and nobody notices
  @criterion-3
  Scenario Outline: <node> loses its <which> link
    Given every node is there
    When the <which> link of <node> fails
    Then no path is interrupted for more than 1 second

    Examples:
      | node  | which  |
      | node1 | active |
      | node1 | other  |
      | node3 | active |
