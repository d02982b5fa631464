@phase11 @drill @chaos
Feature: A link fails and nobody notices
  Links and switches are made to fail one at a time, while every path of the host network is watched in both
  directions. The next thing is only broken once full redundancy is back. Where a node is drawn, the run's seed draws it.

  Background:
    Given every server is installed as a node
    And every node's network is configured

  @criterion-3
  Scenario Outline: <node> loses its <link> link
    Given all paths between <node> and the other nodes are watched
    When the <link> link of <node> loses its carrier
    Then no path is interrupted for more than 1 second
    And the bond of <node> runs on its remaining link
    And the link comes back, nothing flaps, and redundancy is restored

    Examples:
      | node   | link   |
      | node 1 | active |
      | node 1 | other  |
      | node 2 | active |
      | node 2 | other  |
      | node 3 | active |
      | node 3 | other  |

  @criterion-3
  Scenario Outline: Switch <switch> fails
    Given all paths between all nodes are watched
    When switch <switch> takes down the ports of all nodes
    Then no path is interrupted for more than 1 second
    And the ports come back, nothing flaps, and redundancy is restored

    Examples:
      | switch |
      | 1      |
      | 2      |

  @silent
  Scenario Outline: The active link of <node> falls silent
    Given all paths between <node> and the other nodes are watched
    When the active link of <node> keeps its carrier and loses every frame
    Then the interruption is as the bond's monitoring predicts
    And the link comes back, nothing flaps, and redundancy is restored

    Examples:
      | node   |
      | node 1 |
      | node 2 |
      | node 3 |

  Scenario: A node loses both links and comes back without help
    Given all paths between a drawn node and the other nodes are watched
    When both links of that node fail at once and nobody is there to help
    Then that node is alone until its own timer brings the links back
    And redundancy is restored
